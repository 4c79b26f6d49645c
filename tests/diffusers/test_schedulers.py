"""What is read from a scheduler, against the scheduler's own noising and stepping on its grid."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from scoreregs import EDMSchedule, RectifiedFlowSchedule, TabulatedSchedule, VESchedule
from scoreregs.errors import ArgumentError
from scoreregs.kernel import diffuse
from scoreregs.predictions import as_prediction
from scoreregs_diffusers import DiffusersPrior, read_scheduler

diffusers = pytest.importorskip("diffusers")

# The second-order solvers of diffusers hand tensors to numpy, a thousand times for each schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

STEPS = 1000
SHAPE = (4, 3, 8, 8)
TIMESTEPS = torch.tensor([0, 17, 500, 999])
TABLE_SPACE = [
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
]
SOLVERS = [
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
]
SIGMA_SPACE = [
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
]
FLOW_SIGMAS = [
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
]
KINDS = ["epsilon", "sample", "v_prediction"]


def make(name: str, **config):
    return getattr(diffusers, name)(**config)


def randn(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


class Fixed(nn.Module):
    """A model that returns one tensor, and remembers what it was called with."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.seen = {}

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        self.seen = {"sample": sample, "timestep": timestep}
        return (self.output[: len(sample)],)


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("name", TABLE_SPACE + SOLVERS + SIGMA_SPACE)
def test_noise_is_added_as_on_the_schedulers_grid(name, beta_schedule):
    scheduler = make(name, beta_schedule=beta_schedule)
    reading = read_scheduler(scheduler)
    timesteps, x, noise = TIMESTEPS, randn(0), randn(1)
    if name in TABLE_SPACE:
        expected = scheduler.add_noise(x, noise, timesteps)
    elif name in SOLVERS:
        scheduler.set_timesteps(20)
        timesteps = scheduler.timesteps[[0, 5, 12, 19]]
        expected = scheduler.add_noise(x, noise, timesteps)
    else:
        scheduler.set_timesteps(STEPS)
        noisy = scheduler.add_noise(x, noise, timesteps.float())
        ratio = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()[timesteps]
        expected = noisy / (ratio**2 + 1).sqrt()[:, None, None, None]
    level = reading.schedule.at((timesteps + 1) / STEPS)
    assert reading.time_map is not None
    assert torch.equal(reading.time_map(level.t), timesteps)
    torch.testing.assert_close(diffuse(x, noise, level), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", SIGMA_SPACE)
def test_the_network_sees_what_scale_model_input_gives(name):
    scheduler = make(name)
    scheduler.set_timesteps(20)
    timestep = scheduler.timesteps[4]
    step = int((scheduler.timesteps == timestep).nonzero()[0])
    x, noise = randn(0), randn(1)
    scaled = scheduler.scale_model_input(x + scheduler.sigmas[step] * noise, timestep)
    reading = read_scheduler(scheduler, "log_snr")
    level = reading.schedule.at((timestep.double() + 1).expand(4) / STEPS)
    torch.testing.assert_close(diffuse(x, noise, level), scaled, rtol=2e-3, atol=2e-3)
    assert reading.time_map is not None
    torch.testing.assert_close(reading.time_map(level.t), timestep.double().expand(4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler"])
def test_a_step_predicts_the_same_sample(name, kind):
    options = {"timestep_spacing": "leading"} if "Euler" in name else {"clip_sample": False}
    scheduler = make(name, prediction_type=kind, **options)
    scheduler.set_timesteps(20)
    output, x_t = randn(0), randn(1)
    prior = DiffusersPrior(Fixed(output), scheduler)
    for index in (0, 9, 19):
        timestep = int(scheduler.timesteps[index])
        denoised = prior.denoise(x_t, (timestep + 1) / STEPS)
        if name == "EulerDiscreteScheduler":
            scheduler._step_index = None
            ratio = (1 / scheduler.alphas_cumprod[timestep] - 1).sqrt()
            sample = x_t * (ratio**2 + 1).sqrt()
            scheduler.scale_model_input(sample, scheduler.timesteps[index])
            step = scheduler.step(output, scheduler.timesteps[index], sample)
        else:
            step = scheduler.step(output, timestep, x_t)
        expected = step.pred_original_sample
        scale = expected.abs().max().item()
        torch.testing.assert_close(denoised, expected, rtol=2e-3, atol=2e-3 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"]
)
def test_a_solver_converts_to_the_same_sample(name, kind):
    scheduler = make(name, prediction_type=kind)
    scheduler.set_timesteps(20)
    output, x_t = randn(0), randn(1)
    prior = DiffusersPrior(Fixed(output), scheduler)
    for index in (0, 9, 19):
        scheduler._step_index = index
        converted = scheduler.convert_model_output(output, sample=x_t)
        t = (int(scheduler.timesteps[index]) + 1) / STEPS
        derived = prior.epsilon(x_t, t) if name.startswith("DEIS") else prior.denoise(x_t, t)
        scale = converted.abs().max().item()
        torch.testing.assert_close(derived, converted, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_heun_and_pndm_derive_the_same_sample(kind):
    """The first step of each is read back from where it moves the sample to."""
    output, x_t = randn(0), randn(1)
    if kind != "sample":
        heun = make("HeunDiscreteScheduler", prediction_type=kind, timestep_spacing="leading")
        heun.set_timesteps(20)
        index = 10  # an even index is the first half of a step
        timestep, sigma, after = heun.timesteps[index], heun.sigmas[index], heun.sigmas[index + 1]
        heun._step_index = index
        sample = x_t * (sigma**2 + 1).sqrt()
        moved = heun.step(output, timestep, sample).prev_sample
        epsilon = (moved - sample) / (after - sigma)
        t = (int(timestep) + 1) / STEPS
        got = DiffusersPrior(Fixed(output), heun).epsilon(x_t, t)
        torch.testing.assert_close(got, epsilon, rtol=5e-3, atol=5e-3)
    if kind != "sample":
        pndm = make("PNDMScheduler", prediction_type=kind, skip_prk_steps=True)
        pndm.set_timesteps(20)
        timestep = int(pndm.timesteps[0])
        moved = pndm.step(output, timestep, x_t).prev_sample
        prior = DiffusersPrior(Fixed(output), pndm)
        level = prior.schedule.at(torch.tensor([(timestep - 50 + 1) / STEPS]))
        x_hat, epsilon = (
            derived(x_t, (timestep + 1) / STEPS) for derived in (prior.denoise, prior.epsilon)
        )
        torch.testing.assert_close(moved, diffuse(x_hat, epsilon, level), rtol=1e-3, atol=1e-3)


class TestFlow:
    @pytest.mark.parametrize("shift", [1.0, 3.0])
    @pytest.mark.parametrize(
        "name", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"]
    )
    def test_noise_is_added_as_on_the_schedulers_grid(self, name, shift):
        scheduler = make(name, shift=shift)
        reading = read_scheduler(scheduler)
        level = reading.schedule.at((TIMESTEPS + 1) / STEPS)
        sigmas, timesteps = scheduler.sigmas.flip(0)[TIMESTEPS], scheduler.timesteps.flip(0)
        torch.testing.assert_close(level.sigma.float(), sigmas)
        assert reading.time_map is not None
        torch.testing.assert_close(reading.time_map(level.t).float(), timesteps[TIMESTEPS])
        if name == "FlowMatchEulerDiscreteScheduler":
            x, noise = randn(0), randn(1)
            expected = scheduler.scale_noise(x, timesteps[TIMESTEPS], noise)
            torch.testing.assert_close(diffuse(x, noise, level), expected, rtol=1e-5, atol=1e-5)

    def test_a_step_to_the_end_is_the_same_sample(self):
        scheduler = make("FlowMatchEulerDiscreteScheduler", shift=3.0)
        scheduler.set_timesteps(sigmas=[0.5])
        output, x_t = randn(0), randn(1)
        moved = scheduler.step(output, scheduler.timesteps[0], x_t).prev_sample
        model = Fixed(output)
        prior = DiffusersPrior(model, make("FlowMatchEulerDiscreteScheduler", shift=3.0))
        torch.testing.assert_close(prior.denoise(x_t, 0.5), moved)
        torch.testing.assert_close(model.seen["timestep"], torch.full((4,), 750.0))

    @pytest.mark.parametrize("name", FLOW_SIGMAS)
    def test_flow_sigmas_come_before_the_table_of_alphas(self, name):
        config = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
        scheduler = make(name, **config)
        assert hasattr(scheduler, "alphas_cumprod")
        output, x_t = randn(0), randn(1)
        model = Fixed(output)
        prior = DiffusersPrior(model, scheduler)
        assert isinstance(prior.schedule, RectifiedFlowSchedule)
        scheduler.set_timesteps(10)
        index = 4
        scheduler._step_index = index
        sigma = scheduler.sigmas[index].double()
        t = prior.schedule.t_from_log_snr(2 * torch.log((1 - sigma) / sigma)).item()
        denoised = prior.denoise(x_t, t)
        # The scheduler cuts its own timesteps to integers, the network's time is not cut.
        assert model.seen["timestep"][0].item() == pytest.approx(1000 * sigma.item(), rel=1e-5)
        assert int(scheduler.timesteps[index]) == int(1000 * sigma)
        if name in ("DEISMultistepScheduler", "SASolverScheduler"):
            expected = x_t - sigma.float() * output
        else:
            expected = scheduler.convert_model_output(output, sample=x_t)
        torch.testing.assert_close(denoised, expected, rtol=1e-4, atol=1e-4)

    def test_a_dynamic_shift_is_left_to_the_sampler(self):
        scheduler = make("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True)
        schedule = read_scheduler(scheduler).schedule
        level = schedule.at((TIMESTEPS + 1) / STEPS)
        torch.testing.assert_close(level.sigma.float(), scheduler.sigmas.flip(0)[TIMESTEPS])

    def test_a_shift_that_was_set_is_read(self):
        scheduler = make("FlowMatchEulerDiscreteScheduler", shift=1.0)
        scheduler.set_shift(5.0)
        schedule = read_scheduler(scheduler).schedule
        assert isinstance(schedule, RectifiedFlowSchedule)
        assert schedule.shift == 5.0


class TestEDM:
    @pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
    @pytest.mark.parametrize("sigma_schedule", ["karras", "exponential"])
    @pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
    def test_preconditioning_is_the_schedulers(self, name, sigma_schedule, kind):
        scheduler = make(
            name,
            prediction_type=kind,
            sigma_schedule=sigma_schedule,
            sigma_data=0.7,
            sigma_max=60.0,
        )
        output, x_t = randn(0), randn(1)
        model = Fixed(output)
        prior = DiffusersPrior(model, scheduler)
        assert isinstance(prior.schedule, EDMSchedule if sigma_schedule == "karras" else VESchedule)
        grid = scheduler.sigmas[:-1].flip(0)[-STEPS:]
        for index in (0, 400, 999):
            sigma = grid[index]
            t = prior.schedule.t_from_log_snr(-2 * sigma.double().log()).clamp(0, 1).item()
            denoised = prior.denoise(x_t, t)
            expected = scheduler.precondition_outputs(x_t, output, sigma)
            torch.testing.assert_close(denoised, expected, rtol=1e-4, atol=1e-4)
            close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
            scaled = scheduler.precondition_inputs(x_t, sigma)
            close(model.seen["sample"], scaled)
            noise = scheduler.precondition_noise(sigma).expand(4)
            close(model.seen["timestep"], noise)

    @pytest.mark.parametrize("sigma_schedule", ["karras", "exponential"])
    def test_levels_are_the_schedulers(self, sigma_schedule):
        scheduler = make("EDMEulerScheduler", sigma_schedule=sigma_schedule)
        scheduler.set_timesteps(50)
        schedule = read_scheduler(scheduler).schedule
        t = torch.linspace(1, 0, 50, dtype=torch.float64)
        torch.testing.assert_close(schedule(t)[1].float(), scheduler.sigmas[:-1], rtol=1e-4, atol=0)

    def test_a_step_predicts_the_same_sample(self):
        scheduler = make("EDMEulerScheduler", prediction_type="v_prediction")
        scheduler.set_timesteps(10)
        output, x_t = randn(0), randn(1)
        scheduler._step_index = 4
        step = scheduler.step(output, scheduler.timesteps[4], x_t)
        prior = DiffusersPrior(
            Fixed(output), make("EDMEulerScheduler", prediction_type="v_prediction")
        )
        torch.testing.assert_close(prior.denoise(x_t, 1 - 4 / 9), step.pred_original_sample)

    def test_continuous_euler_calls_with_a_quarter_of_the_log(self):
        scheduler = make(
            "EulerDiscreteScheduler",
            timestep_type="continuous",
            prediction_type="v_prediction",
            sigma_min=0.002,
            sigma_max=700.0,
            use_karras_sigmas=True,
        )
        scheduler.set_timesteps(25)
        index = 7
        sigma = scheduler.sigmas[index]
        output, sample = randn(0), randn(1)
        model = Fixed(output)
        prior = DiffusersPrior(model, scheduler)
        ends = prior.schedule(torch.tensor([0.0, 1.0]))[1]
        torch.testing.assert_close(ends, torch.tensor([0.002, 700.0]))
        t = prior.schedule.t_from_log_snr(-2 * sigma.double().log()).item()
        denoised = prior.denoise(sample, t)
        scheduler._step_index = index
        scaled = scheduler.scale_model_input(sample, scheduler.timesteps[index])
        step = scheduler.step(output, scheduler.timesteps[index], sample)
        torch.testing.assert_close(model.seen["sample"], scaled)
        timestep = scheduler.timesteps[index].expand(4)
        torch.testing.assert_close(model.seen["timestep"], timestep)
        torch.testing.assert_close(denoised, step.pred_original_sample, rtol=1e-4, atol=1e-4)

    def test_continuous_euler_without_a_range_has_its_tables(self):
        scheduler = make(
            "EulerDiscreteScheduler", timestep_type="continuous", prediction_type="v_prediction"
        )
        ends = read_scheduler(scheduler).schedule(torch.tensor([0.0, 1.0]))[1]
        torch.testing.assert_close(ends, scheduler.sigmas[[-2, 0]], rtol=1e-3, atol=0)


class TestReading:
    def test_is_done_once(self):
        """`set_timesteps`, and whatever else a pipeline does, changes nothing afterwards."""
        for name in ("DDPMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"):
            scheduler = make(name)
            output, x_t = randn(0), randn(1)
            prior = DiffusersPrior(Fixed(output), scheduler)
            before = prior.denoise(x_t, 0.3)
            scheduler.set_timesteps(7)
            for table in ("alphas_cumprod", "sigmas", "timesteps"):
                if hasattr(scheduler, table):
                    getattr(scheduler, table).zero_()
            assert torch.equal(prior.denoise(x_t, 0.3), before)

    def test_is_the_same_after_set_timesteps(self):
        for name in (*TABLE_SPACE, *SOLVERS, *SIGMA_SPACE, "FlowMatchEulerDiscreteScheduler"):
            scheduler = make(name)
            t = torch.linspace(0, 1, 50)
            before = read_scheduler(scheduler).schedule.at(t)
            scheduler.set_timesteps(7)
            after = read_scheduler(scheduler).schedule.at(t)
            assert torch.equal(before.sigma, after.sigma)

    def test_a_rescaled_table_ends_without_signal(self):
        for name in (
            "DDPMScheduler",
            "DDIMScheduler",
            "EulerDiscreteScheduler",
            "EulerAncestralDiscreteScheduler",
            "DPMSolverMultistepScheduler",
            "UniPCMultistepScheduler",
        ):
            scheduler = make(name, rescale_betas_zero_snr=True, prediction_type="v_prediction")
            prior = DiffusersPrior(Fixed(output := randn(0)), scheduler)
            assert prior.schedule.at(torch.ones(1)).alpha.item() == 0
            torch.testing.assert_close(prior.denoise(randn(1), 1.0), -output)

    def test_log_snr_interpolation_calls_between_steps(self):
        model = Fixed(randn(0))
        prior = DiffusersPrior(model, make("DDPMScheduler"), interpolation="log_snr")
        prior.epsilon(randn(1), 0.30025)
        torch.testing.assert_close(model.seen["timestep"], torch.full((4,), 299.25))

    @pytest.mark.parametrize(
        ("make_scheduler", "message"),
        [
            (lambda: make("CMStochasticIterativeScheduler"), "consistency"),
            (lambda: make("LCMScheduler"), "consistency"),
            (lambda: make("TCDScheduler"), "consistency"),
            (lambda: make("ScoreSdeVeScheduler"), "NetworkPrior"),
            (lambda: make("DDPMScheduler", prediction_type="flow"), "prediction_type='flow'"),
            (
                lambda: make("DPMSolverMultistepScheduler", prediction_type="flow_prediction"),
                "flow",
            ),
            (
                lambda: make(
                    "UniPCMultistepScheduler", prediction_type="v_prediction", use_flow_sigmas=True
                ),
                "v_prediction",
            ),
            (lambda: make("EDMEulerScheduler", prediction_type="sample"), "sample"),
            (lambda: object(), "object"),
        ],
    )
    def test_what_is_not_supported_is_refused(self, make_scheduler, message):
        with pytest.raises(ArgumentError, match=message):
            read_scheduler(make_scheduler())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_half_precision_table_is_refused(self, dtype):
        scheduler = make("DDPMScheduler")
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
        with pytest.raises(ArgumentError, match="half precision"):
            read_scheduler(scheduler)

    def test_a_table_that_is_not_monotone_is_refused(self):
        scheduler = make("DDPMScheduler")
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.flip(0)
        with pytest.raises(ArgumentError, match="falls strictly"):
            read_scheduler(scheduler)


class TestWhereSchedulersAreWrong:
    """Why only configuration and table are used; where a test fails, it was mended there."""

    def test_eulers_velocity_is_that_of_the_mirrored_step(self):
        euler, ddpm = make("EulerDiscreteScheduler"), make("DDPMScheduler")
        x, noise = torch.ones(1, 1), torch.zeros(1, 1)
        wrong = euler.get_velocity(x, noise, torch.tensor([999.0]))
        right = ddpm.get_velocity(x, noise, torch.tensor([999]))
        assert right.item() == pytest.approx(-1, abs=1e-4)
        assert wrong.item() == pytest.approx(-0.01, abs=1e-4)
        reading = read_scheduler(euler)
        level = reading.schedule.at(torch.ones(1))
        v = as_prediction("v_prediction").difference(x * 0, x, noise, level, reading.schedule)
        torch.testing.assert_close(-v, right)

    @pytest.mark.parametrize("name", [n for n in SOLVERS if n != "SASolverScheduler"])
    def test_a_solvers_noise_is_mirrored_before_set_timesteps(self, name):
        scheduler = make(name)
        x, noise = torch.ones(1, 1), torch.zeros(1, 1)
        early = scheduler.add_noise(x, noise, torch.tensor([0])).item()
        late = scheduler.alphas_cumprod[-1].sqrt().item()
        assert early == pytest.approx(late, rel=1e-3)
        schedule = read_scheduler(scheduler).schedule
        assert schedule.at(torch.zeros(1)).alpha.item() == pytest.approx(1, abs=1e-4)

    @pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
    def test_noise_off_the_sampling_grid_is_an_error(self, name):
        scheduler = make(name)
        scheduler.set_timesteps(10)
        off = torch.tensor([500.0])
        assert off not in scheduler.timesteps
        with pytest.raises(IndexError):
            scheduler.add_noise(torch.ones(1, 1), torch.ones(1, 1), off)
        read_scheduler(scheduler).schedule.at(torch.tensor([0.501]))

    def test_flow_noise_off_the_grid_is_an_error(self):
        scheduler = make("FlowMatchEulerDiscreteScheduler", shift=3.0)
        with pytest.raises(IndexError):
            scheduler.scale_noise(torch.ones(1, 1), torch.tensor([750.5]), torch.ones(1, 1))
        assert not hasattr(scheduler, "add_noise")

    def test_a_flow_grid_is_shifted_twice_at_its_end(self):
        scheduler = make("FlowMatchEulerDiscreteScheduler", shift=3.0)
        first = scheduler.sigmas.flip(0)[0].item()
        scheduler.set_timesteps(STEPS)
        again = scheduler.sigmas[-2].item()
        assert first == pytest.approx(3e-3, rel=0.01)
        assert again == pytest.approx(9e-3, rel=0.02)
        schedule = read_scheduler(scheduler).schedule
        assert schedule(torch.tensor([1 / STEPS]))[1].item() == pytest.approx(first, rel=1e-5)

    def test_flow_sigmas_leave_a_table_of_the_wrong_process(self):
        scheduler = make(
            "UniPCMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction"
        )
        table = TabulatedSchedule.from_alphas_cumprod(scheduler.alphas_cumprod)
        t = torch.tensor([0.5])
        difference = table.at(t).log_snr - read_scheduler(scheduler).schedule.at(t).log_snr
        assert difference.abs().item() > 2

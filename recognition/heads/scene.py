"""What differs between pictures of one person: pose, expression, light, clothes, background, the camera's faults."""

from __future__ import annotations

from dataclasses import dataclass

from recognition.heads.numbers import Numbers

_SCENE = 0x5363656E65


@dataclass(frozen=True)
class Scene:
    """Angles in degrees (rotation.py), distances in decimetres, colours as sRGB in [0, 1]; all else in [0, 1].

    The defaults are a neutral face in front of grey, in even light, by a camera without faults.
    """

    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    body_yaw_deg: float = 0.0
    distance_dm: float = 14.0

    smile: float = 0.0
    mouth_open: float = 0.0
    eyes_closed: float = 0.0
    brows_up: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    """Of the irises, right and down; +-1 = as far as they go."""
    glasses_off: bool = False

    light: tuple[float, float, float] = (-0.45, -0.55, 0.75)
    """From the head to the lamp, in the frame of the points; its length does not count."""
    light_colour: tuple[float, float, float] = (1.0, 0.98, 0.95)
    light_strength: float = 0.75
    ambient: float = 0.45

    cloth: tuple[float, float, float] = (0.25, 0.32, 0.45)
    neckline: float = 0.5
    backdrop: tuple[tuple[float, float, float], ...] = ((0.55, 0.56, 0.58),)
    """One colour, or 16 of them on a grid of 4 x 4, row by row, that run into each other."""

    blur: float = 0.0
    noise_levels: float = 0.0
    """Standard deviation of the camera's noise, of 255."""
    noise_key: int = 0


def draw_scene(seed: int, number: int, *, domain: int = 0, widest_yaw_deg: float = 60.0) -> Scene:
    """Scene `number` of those that belong to `seed`; yaws crowd about zero and reach to +-`widest_yaw_deg`."""
    draw = Numbers(seed, _SCENE, domain, number)
    yaw = draw.near(0, widest_yaw_deg)
    smiling, speaking, blinking = draw.chance(0.45), draw.chance(0.25), draw.chance(0.05)
    return Scene(
        pose_deg=(draw.near(0, 28), yaw, draw.near(0, 22)),
        body_yaw_deg=yaw * 0.4 + draw.near(0, 25),
        distance_dm=draw.between(7, 25),
        smile=draw.between(0.4, 1.0) if smiling else draw.between(0, 0.15),
        mouth_open=draw.between(0.2, 0.8) if speaking else 0.0,
        eyes_closed=1.0 if blinking else draw.between(0, 0.25),
        brows_up=draw.between(0, 1) * draw.between(0, 1),
        gaze=(draw.near(0, 0.8), draw.near(0, 0.5)),
        glasses_off=draw.chance(0.2),
        light=(draw.between(-1, 1), draw.between(-1, 0.3), draw.between(0.35, 1)),
        light_colour=(draw.between(0.9, 1), draw.between(0.85, 0.97), draw.between(0.75, 1)),
        light_strength=draw.between(0.4, 0.95),
        ambient=draw.between(0.25, 0.6),
        cloth=_muted(draw),
        neckline=draw.between(0, 1),
        backdrop=_backdrop(draw),
        blur=max(0.0, draw.between(-0.5, 1.0)),
        noise_levels=draw.between(0.5, 5.0),
        noise_key=number,
    )


def _backdrop(draw: Numbers) -> tuple[tuple[float, float, float], ...]:
    """A few colours, spread over the grid at random."""
    palette = [_muted(draw) for _ in range(3)]
    strength = draw.between(0.1, 1.0)
    first = palette[0]
    return tuple(tuple(a + (b - a) * strength for a, b in zip(first, draw.one_of(palette))) for _ in range(16))


def _muted(draw: Numbers) -> tuple[float, float, float]:
    """A colour of any brightness, seldom a bright one."""
    grey, colourful = draw.between(0.06, 0.92), draw.between(0, 1) * draw.between(0, 1)
    return tuple(grey + (draw.between(0.05, 0.95) - grey) * colourful for _ in range(3))

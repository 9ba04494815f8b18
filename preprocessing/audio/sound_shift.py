"""A clip whose sound is moved against its pictures: both are cut to what they have in common."""

from dataclasses import replace

from preprocessing.schema import SAMPLES_PER_FRAME, Clip, ClipLabels, EyeAnchor

MOVED_SCORE = "sound_moved_frames"
"""In a sample's lip sync scores: how late its sound was before it was moved; negative: early."""


def kept_frames(frames: int, late_frames: int) -> range:
    """Of a clip's frames those that still have sound when sound that is late is moved to its lips.

    Sound that comes `late_frames` late belongs to the picture that many frames before: picture t gets the
    sound of t + late_frames.
    """
    return range(max(0, -late_frames), frames - max(0, late_frames))


def moved_clip(clip: Clip, late_frames: int) -> Clip:
    """The clip with its sound moved, |late_frames| shorter.

    Raises:
        ValueError: nothing of it would be left.
    """
    kept = kept_frames(clip.frame_count, late_frames)
    if not kept:
        raise ValueError(
            f"{clip.key}: sound {late_frames} frames late, of {clip.frame_count} frames none is left"
        )
    sound = slice(
        (kept.start + late_frames) * SAMPLES_PER_FRAME, (kept.stop + late_frames) * SAMPLES_PER_FRAME
    )
    frames = slice(kept.start, kept.stop)
    source = replace(
        clip.source,
        first_frame=clip.source.first_frame + kept.start,
        crop_transforms=clip.source.crop_transforms[frames],
    )
    return replace(
        clip,
        source=source,
        frames_jpeg=clip.frames_jpeg[frames],
        landmarks_px=clip.landmarks_px[frames],
        sound=clip.sound[sound],
    )


def moved_labels(labels: ClipLabels, late_frames: int) -> ClipLabels:
    """The labels of what `moved_clip` keeps.

    Of the lip sync scores the offset becomes what is left of it; the others stay as they were scored.
    """
    kept = kept_frames(len(labels.pose), late_frames)
    frames = slice(kept.start, kept.stop)
    scores = labels.lip_sync | {MOVED_SCORE: float(late_frames)}
    if "offset_frames" in scores:
        scores["offset_frames"] -= late_frames
    return replace(
        labels,
        pose=labels.pose[frames],
        gaze=labels.gaze[frames],
        blink=labels.blink[frames],
        lip_sync=scores,
        coefficients=None if labels.coefficients is None else labels.coefficients[frames],
        blendshapes=None if labels.blendshapes is None else labels.blendshapes[frames],
    )


def moved_anchors(anchors: tuple[EyeAnchor, ...], frames: int, late_frames: int) -> tuple[EyeAnchor, ...]:
    """The anchors on what `moved_clip` keeps of a clip's frames, by their new numbers."""
    kept = kept_frames(frames, late_frames)
    return tuple(
        replace(anchor, base_frame=anchor.base_frame - kept.start)
        for anchor in anchors
        if anchor.base_frame in kept
    )

"""Named groups of the 478 face mesh landmarks, as plain index tuples.

Indices are those of MediaPipe FaceMesh with `refine_landmarks=True`, written as plain numbers so that
MediaPipe need not be imported; `tests/preprocessing/faces/shape/test_landmark_groups.py` compares them with
the edges that MediaPipe publishes (`solutions.face_mesh_connections`).

"Image-left" is the eye on the left of the picture of an unmirrored face looking into the camera:
the person's right eye, which MediaPipe calls the right one.

Contours are closed loops in order round the outline, without repeating the first point.
"""

from typing import Final

IMAGE_LEFT_EYE: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
IMAGE_RIGHT_EYE: Final = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)

# Outer corner first. The corners do not move with the lids.
IMAGE_LEFT_EYE_CORNERS: Final = (33, 133)
IMAGE_RIGHT_EYE_CORNERS: Final = (263, 362)

# Lid points without the corners, outer to inner; the i-th upper point is above the i-th lower one.
IMAGE_LEFT_UPPER_LID: Final = (246, 161, 160, 159, 158, 157, 173)
IMAGE_LEFT_LOWER_LID: Final = (7, 163, 144, 145, 153, 154, 155)
IMAGE_RIGHT_UPPER_LID: Final = (466, 388, 387, 386, 385, 384, 398)
IMAGE_RIGHT_LOWER_LID: Final = (249, 390, 373, 374, 380, 381, 382)

# Centre, then the four rim points.
IMAGE_LEFT_IRIS: Final = (468, 469, 470, 471, 472)
IMAGE_RIGHT_IRIS: Final = (473, 474, 475, 476, 477)

LIPS_OUTER: Final = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip
LIPS_INNER: Final = (
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
MOUTH_CORNERS: Final = (61, 291)  # image-left, image-right
# The middle of the inner lips' edges; the i-th upper point is above the i-th lower one.
INNER_LIP_UPPER_MIDDLE: Final = (81, 82, 13, 312, 311)
INNER_LIP_LOWER_MIDDLE: Final = (178, 87, 14, 317, 402)

FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
IMAGE_LEFT_EYEBROW: Final = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
IMAGE_RIGHT_EYEBROW: Final = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)

# Everything around the eyes that moves with lids and gaze, or is in the region that an eye swap
# replaces: contours, irises and the two rings of lid skin around each eye. No brows.
IMAGE_LEFT_LID_SKIN: Final = (
    25, 110, 24, 23, 22, 26, 112, 243, 130, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229,
    230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
)  # fmt: skip
IMAGE_RIGHT_LID_SKIN: Final = (
    255, 339, 254, 253, 252, 256, 341, 463, 359, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449,
    450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
)  # fmt: skip
EYE_REGION_POINTS: Final = (
    IMAGE_LEFT_EYE + IMAGE_LEFT_IRIS + IMAGE_LEFT_LID_SKIN
    + IMAGE_RIGHT_EYE + IMAGE_RIGHT_IRIS + IMAGE_RIGHT_LID_SKIN
)  # fmt: skip

NOSE_TIP: Final = 1
CHIN: Final = 152

# Points that hardly move when the face speaks, blinks or frowns: nose, eye corners, temples, upper
# forehead, cheekbones. Chosen by their scatter within a person after a rigid fit
# (scripts/derive_mean_face.py prints it). No brows, lids, lips, jaw or lower cheeks. The i-th point
# of the image-left side mirrors the i-th of the image-right side.
RIGID_MIDLINE: Final = (1, 2, 4, 5, 6, 195, 197, 168, 94, 19, 10, 151)
RIGID_IMAGE_LEFT: Final = (
    33, 133, 243, 130, 45, 220, 115, 48, 64, 98, 47, 126, 142, 100, 34, 139, 127, 162, 21, 71, 68, 54,
    103, 67, 109, 104, 69, 108, 116, 234, 227, 143, 156, 111, 188, 122, 193, 245, 174, 217, 198, 131,
    134, 236, 3, 51, 35,
)  # fmt: skip
RIGID_IMAGE_RIGHT: Final = (
    263, 362, 463, 359, 275, 440, 344, 278, 294, 327, 277, 355, 371, 329, 264, 368, 356, 389, 251, 301,
    298, 284, 332, 297, 338, 333, 299, 337, 345, 454, 447, 372, 383, 340, 412, 351, 417, 465, 399, 437,
    420, 360, 363, 456, 248, 281, 265,
)  # fmt: skip
RIGID_POINTS: Final = RIGID_MIDLINE + RIGID_IMAGE_LEFT + RIGID_IMAGE_RIGHT

# The rigid points that the head pose is fitted to: nose, eye corners, upper cheeks. The forehead's
# and the outline's are left out: the image has little structure there, and the mesh moves them only
# 60 to 80 % as far as a nodding head (measured on the demo corpus), which pulls the pitch towards zero.
POSE_IMAGE_LEFT: Final = (
    33, 133, 243, 130, 35, 45, 220, 115, 48, 64, 98, 47, 126, 142, 100, 188, 122, 193, 245, 174, 217,
    198, 131, 134, 236, 3, 51, 116, 117, 118, 123, 111, 50, 101,
)  # fmt: skip
POSE_IMAGE_RIGHT: Final = (
    263, 362, 463, 359, 265, 275, 440, 344, 278, 294, 327, 277, 355, 371, 329, 412, 351, 417, 465, 399,
    437, 420, 360, 363, 456, 248, 281, 345, 346, 347, 352, 340, 280, 330,
)  # fmt: skip
POSE_MIDLINE: Final = (1, 2, 4, 5, 6, 195, 197, 168, 94, 19)
POSE_POINTS: Final = POSE_MIDLINE + POSE_IMAGE_LEFT + POSE_IMAGE_RIGHT

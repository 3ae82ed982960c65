"""Augmentation: every epoch sees every example a little changed, so that there is nothing fixed to learn by heart (lecture row 23)."""

from deltarule.augment.augmentation import Augmentation as Augmentation
from deltarule.augment.augmentation import Examples as Examples
from deltarule.augment.augmentation import as_augmentations as as_augmentations
from deltarule.augment.geometry import Flip as Flip
from deltarule.augment.geometry import Geometric as Geometric
from deltarule.augment.geometry import Map as Map
from deltarule.augment.geometry import RandomCrop as RandomCrop
from deltarule.augment.geometry import Rotate as Rotate
from deltarule.augment.geometry import Scale as Scale
from deltarule.augment.geometry import Shift as Shift
from deltarule.augment.geometry import augmented as augmented
from deltarule.augment.values import Cutout as Cutout
from deltarule.augment.values import Mixup as Mixup
from deltarule.augment.values import Noise as Noise

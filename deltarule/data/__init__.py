"""Data: reading, splitting, scaling and auditing; small real data sets, and toys made by a formula."""

from deltarule.data.arrays import all_finite, as_array, as_features, one_hot
from deltarule.data.atoms import Micrographs, atoms
from deltarule.data.audit import Finding, audit
from deltarule.data.bucketing import Buckets, buckets
from deltarule.data.dataset import Dataset
from deltarule.data.galaxies import galaxies
from deltarule.data.images import Images, read_image_files, read_images
from deltarule.data.long_tables import read_sequences
from deltarule.data.memory import adding, copying, reversing
from deltarule.data.mnist import mnist, read_idx
from deltarule.data.padding import pad
from deltarule.data.photometry import galaxy_catalogue
from deltarule.data.pieces import pieces
from deltarule.data.preprocessing import Labels, Preprocessor, TargetScaler
from deltarule.data.reading import read_columns, read_table, target_values
from deltarule.data.scenes import Scenes, scenes
from deltarule.data.sequences import Sequences
from deltarule.data.sources import breast_cancer, circles, diabetes, digits, iris, load, names, spiral, two_moons, wine, xor
from deltarule.data.storrie_lombardi import storrie_lombardi
from deltarule.data.teaching import shifted
from deltarule.data.text import read_text, windows
from deltarule.data.tones import damped_tones, melodies
from deltarule.data.variable_stars import light_curves
from deltarule.data.vocabularies import BytePairs, Characters, Words

__all__ = [
    "BytePairs", "Characters", "Words", "read_text", "shifted", "windows",
    "Dataset", "Finding", "Images", "Labels", "Preprocessor", "TargetScaler",
    "all_finite", "as_array", "as_features", "audit", "one_hot", "pad", "pieces", "read_columns", "read_idx", "read_image_files",
    "read_images", "read_sequences", "read_table", "target_values",
    "breast_cancer", "diabetes", "digits", "iris", "mnist", "wine", "load", "names",
    "galaxies", "galaxy_catalogue", "storrie_lombardi",
    "Buckets", "Sequences", "buckets", "adding", "copying", "damped_tones", "light_curves", "melodies", "reversing",
    "Micrographs", "Scenes", "atoms", "scenes", "circles", "spiral", "two_moons", "xor",
]

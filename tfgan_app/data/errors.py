"""What can be wrong with a dataset, said in words for the person who asked for it."""


class DataError(Exception):
    """The data cannot be used as asked; the message says what to do instead."""


class UnknownDataset(DataError):  # noqa: N818
    """No dataset, folder or file goes by the name given."""


class UnknownSplit(DataError):  # noqa: N818
    """The dataset has no split of that name."""


class NotDownloadable(DataError):  # noqa: N818
    """The dataset is neither prepared nor on disk, and its hosts do not answer."""

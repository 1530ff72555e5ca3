"""What this program asks the system to bring to the disk, and in which order."""

import os


def synced(monkeypatch) -> list[str]:
    """Grows with each fsync and each rename, by the names of the files; both take place all the same."""
    events, fsync, replace = [], os.fsync, os.replace

    def seen_fsync(descriptor):
        events.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def seen_replace(source, target, **options):
        events.append(f"replace {os.path.basename(source)} {os.path.basename(target)}")
        replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    return events

"""Which job is to be followed by another one like it, in the job store's file."""

from modules.core.database import Database


class Chains:
    """A row for each series: the job that it began with, and the latest one, which another is to follow."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, job_id: str) -> None:
        """That job is to be followed, unless it was already."""
        self._db.write("INSERT OR IGNORE INTO series (begun, job) VALUES (?, ?)", (job_id, job_id))

    def end(self, job_id: str) -> tuple[str, bool]:
        """No job follows any more in the series that began with that one, or has come to it: its latest job, and whether there was one."""
        with self._db.change() as db:
            rows = db.execute("SELECT job FROM series WHERE begun=? OR job=?", (job_id, job_id)).fetchall()
            db.execute("DELETE FROM series WHERE begun=? OR job=?", (job_id, job_id))
        return (rows[0]["job"], True) if rows else (job_id, False)

    def holds(self, job_id: str) -> bool:
        """Whether that job is to be followed."""
        return bool(self._db.read("SELECT 1 FROM series WHERE job=?", (job_id,)))

    def open(self) -> list[str]:
        """All that are to be followed."""
        return [row["job"] for row in self._db.read("SELECT job FROM series")]

    def pass_on(self, job_id: str, next_id: str) -> None:
        """It was followed by that one, which is to be followed in turn."""
        self._db.write("UPDATE series SET job=? WHERE job=?", (next_id, job_id))

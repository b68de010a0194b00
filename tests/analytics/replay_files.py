"""CSV files of real data for the tests of a replay."""

from pathlib import Path

HEADER = "who,arm,day,prompt,status,at,answered,stress,craving"


def file_of(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "trial.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


GOOD = [
    "p1,a,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20",
    "p1,a,1,2,answered,2020-03-02 13:00:00,2020-03-02 13:02:00,30,40",
    "p2,b,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20",
    "p2,b,1,2,missed,2020-03-02 13:00:00,,,",
]

"""Apache Parquet: typed columns in row groups, compressed by Zstandard."""

from collections.abc import Sequence

from analytics.datasets.about import About
from analytics.datasets.draft import Draft
from analytics.datasets.reading import Written, batches, schema

ROWS = 1 << 15  # of a row group


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    for table in tables:
        write_table(draft, table)


def write_table(draft: Draft, table: Written) -> None:
    import pyarrow
    import pyarrow.parquet

    with (
        draft.open(f"data/{table.name}.parquet") as file,
        pyarrow.parquet.ParquetWriter(file, schema(table), compression="zstd") as writer,
    ):
        waiting: list[pyarrow.RecordBatch] = []
        for batch in batches(table):
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROWS:
                writer.write_table(pyarrow.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pyarrow.Table.from_batches(waiting))

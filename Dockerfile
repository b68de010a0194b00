# One image for web, worker, dispatcher and beat; docker-compose.yml says which runs what.
FROM python:3.12-slim AS build
WORKDIR /app
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --requirement requirements.txt
COPY manage.py pyproject.toml ./
COPY ema ema
COPY scheduler scheduler
COPY analytics analytics
COPY console console
RUN FOURBEAT_STATE_DIR=/tmp/build STATIC_ROOT=/app/static /venv/bin/python manage.py collectstatic --noinput

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 fourbeat && install -d -o fourbeat /snapshots
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 STATIC_ROOT=/app/static SNAPSHOT_DIR=/snapshots
USER fourbeat
EXPOSE 8000
CMD ["python", "manage.py", "web", "--host", "0.0.0.0", "--workers", "2"]

"""The yardstick: the smallest flow that Prefect runs, on the server that Prefect starts for it."""

from prefect import flow, task


@task
def nothing():
    return 1


@flow
def one_task():
    return nothing()


if __name__ == "__main__":
    one_task()

"""A run that says when its first step is done: python -m benchmarks.first_step KEY=VALUE ...

It imports nothing that the program does not, lest that count as the program's time.
"""

import time
from importlib import import_module
from typing import Any

SAID = "first step"
SECONDS = 300  # for others to look at the process, and to kill it


def main() -> None:
    """Run the program as people do, with a word after the first step, and no second."""
    train: Any = import_module("mtl_bert.train")  # the package's name for it is a function
    carry_out = train._carry_out

    def hooked(composed: Any) -> Any:
        from mtl_bert.training.module import MultiTaskModule

        end = MultiTaskModule.on_train_batch_end

        def tell(self: MultiTaskModule, *arguments: Any) -> None:
            end(self, *arguments)
            print(SAID, flush=True)
            time.sleep(SECONDS)

        MultiTaskModule.on_train_batch_end = tell  # type: ignore[method-assign]
        return carry_out(composed)

    train._carry_out = hooked
    train.main()


if __name__ == "__main__":
    main()

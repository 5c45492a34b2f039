"""Sending events from a program that is no worker: a web handler, a script.

python examples/send_events.py
"""

import stepwell

client = stepwell.Client(app_id="hello")


def main() -> None:
    ids = client.send_sync(
        [
            # An id of your own makes sending again safe: within 24 hours it starts each function
            # once.
            stepwell.Event(name="user.created", data={"user_id": 7}, id="signup-7"),
            stepwell.Event(name="user.created", data={"user_id": 7}, id="signup-7"),
        ]
    )
    print("\n".join(ids))


if __name__ == "__main__":
    main()

"""usage: moody.py LISTEN MOOD

A storage that refuses the first writes, the way MOOD says, and counts what it takes.
"""

import sys
import threading

from prom_remote_api import Reject, Retry, Storage, serve


class Moody(Storage):
    def __init__(self, mood):
        self.answers = {"retry": Retry("not now"), "reject": Reject("never"),
                        "crash": RuntimeError("a bug in the script")}
        self.mood, self.refused, self.stored = mood, 0, 0
        self.lock = threading.Lock()

    def write(self, ctx, request):
        with self.lock:
            if len(request) > 0 and self.refused < 5:
                self.refused += 1
                raise self.answers[self.mood]
            self.stored += request.sample_count
            print("stored", self.stored, flush=True)


serve(Moody(sys.argv[2]), listen=sys.argv[1])

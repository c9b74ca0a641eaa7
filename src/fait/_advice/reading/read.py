def read(t): raise NotImplementedError

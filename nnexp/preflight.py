def check(stores):
    pass

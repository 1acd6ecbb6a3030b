"""Many processes that train or evaluate as one: started by MindSpore's msrun, one process a device."""

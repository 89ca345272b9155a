"""The three ports of the core: `Clock`, `RemoteShell` and `VmInventory`. They know nothing of each other."""

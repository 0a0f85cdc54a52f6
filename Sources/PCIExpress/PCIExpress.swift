// PCIExpress

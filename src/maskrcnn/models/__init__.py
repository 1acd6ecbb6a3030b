"""The network: backbone, FPN, RPN, box head, mask head."""

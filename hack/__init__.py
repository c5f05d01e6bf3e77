"""What developers run beside the product: a local cluster and the images. Standard library only."""

module slicer-cni/tests/harness/faasd

go 1.24.2

require github.com/containerd/go-cni v1.1.9

require github.com/containernetworking/cni v1.1.2 // indirect

mxring_bench(rsa_bench SOURCES rsa_bench.cc LINKS crypto)

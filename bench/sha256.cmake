mxring_bench(sha256_bench SOURCES sha256_bench.cc LINKS crypto LIBS PkgConfig::WOLFSSL)

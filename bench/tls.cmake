mxring_bench(tls_bench SOURCES tls_bench.cc LINKS net)

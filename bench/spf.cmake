mxring_bench(spf_bench SOURCES spf_bench.cc LINKS mailauth)

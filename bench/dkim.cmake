mxring_bench(dkim_bench SOURCES dkim_bench.cc LINKS mailauth)

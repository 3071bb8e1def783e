mxring_bench(dmarc_bench SOURCES dmarc_bench.cc LINKS mailauth)

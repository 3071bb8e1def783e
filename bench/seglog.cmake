mxring_bench(crc32c_bench SOURCES crc32c_bench.cc LINKS base)
mxring_bench(seglog_bench SOURCES seglog_bench.cc LINKS seglog)

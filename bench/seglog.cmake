mxring_bench(crc32c_bench SOURCES crc32c_bench.cc LINKS base)
mxring_bench(seglog_bench SOURCES seglog_bench.cc LINKS seglog)

# Not a Google Benchmark: bench/log_cost.py runs it beside a server, and times it whole.
add_executable(log_reader log_reader.cc)
target_link_libraries(log_reader PRIVATE mxring_options mxring_seglog)

mxring_bench(smtp_bench SOURCES smtp_bench.cc LINKS smtp mail)

mxring_bench(policy_bench SOURCES policy_bench.cc LINKS server)

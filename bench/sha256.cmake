mxring_bench(sha256_bench SOURCES sha256_bench.cc LINKS crypto LIBS PkgConfig::WOLFSSL)

# Against libraries: only where libipsec-mb is installed (Debian: libipsec-mb-dev), which is x86-64.
find_library(MXRING_IPSEC_MB IPSec_MB)
find_path(MXRING_IPSEC_MB_INCLUDE intel-ipsec-mb.h)
mark_as_advanced(MXRING_IPSEC_MB MXRING_IPSEC_MB_INCLUDE)
if(MXRING_IPSEC_MB AND MXRING_IPSEC_MB_INCLUDE)
  mxring_bench(sha256_peers_bench SOURCES sha256_peers_bench.cc sha256_highway.cc LINKS crypto
    LIBS PkgConfig::HWY ${MXRING_IPSEC_MB})
  set_source_files_properties(sha256_highway.cc PROPERTIES COMPILE_OPTIONS
    "-march=icelake-server;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>")
endif()

// The version of the installed reader package. The parts are numbers, for the preprocessor.
#pragma once

#define MXRING_VERSION_MAJOR 0
#define MXRING_VERSION_MINOR 1
#define MXRING_VERSION_PATCH 0
// 1,000,000 * major + 1,000 * minor + patch
#define MXRING_VERSION_NUMBER \
  (MXRING_VERSION_MAJOR * 1000000 + MXRING_VERSION_MINOR * 1000 + MXRING_VERSION_PATCH)

/* lib/base/version.h - the one place that holds the version. */
#ifndef RAL_VERSION_H
#define RAL_VERSION_H

#define RAL_VERSION "0.1.0"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_H
#define PRA_H
#ifndef PRA_CDEF
#include <stddef.h>
#include <stdint.h>
#endif
#ifdef PRA_CDEF
#define PRA_API
#else
#define PRA_API __attribute__((visibility("default")))
#endif
#if defined(__cplusplus) && !defined(PRA_CDEF)
extern "C" {
#endif

/** The version of the library as text, for instance "0.1.0". Static storage. */
PRA_API const char *pra_version(void);

#if defined(__cplusplus) && !defined(PRA_CDEF)
}
#endif
#endif

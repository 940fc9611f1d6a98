/* SPDX-License-Identifier: Apache-2.0 */
#include "pra.h"

#include <string.h>

const char *pra_version_cstr(void)
{
    return PRA_PROJECT_VERSION; /* given by the build */
}

uint32_t pra_version_number(void)
{
    return PRA_VERSION_MAJOR * 10000 + PRA_VERSION_MINOR * 100 + PRA_VERSION_PATCH;
}

int pra_is_stale(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof(bits));
    return bits == PRA_STALE_NAN_BITS;
}

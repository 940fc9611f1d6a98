/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every request that was made canonical. */
#ifndef TESTS_SUPPORT_CANONICAL_H
#define TESTS_SUPPORT_CANONICAL_H

#include "pra.h"

/* NULL, or what does not hold. */
const char *canonical_fault(const pra_columns *c, int32_t version);

#endif

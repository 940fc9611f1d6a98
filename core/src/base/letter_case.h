/* SPDX-License-Identifier: Apache-2.0 */
/* Upper and lower case of single code points, whatever the locale: as Go's unicode package has
 * them. */
#ifndef PRA_BASE_LETTER_CASE_H
#define PRA_BASE_LETTER_CASE_H

#include <stdint.h>

uint32_t pra__to_upper(uint32_t c);
uint32_t pra__to_lower(uint32_t c);

#endif

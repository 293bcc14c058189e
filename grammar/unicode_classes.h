/* Unicode general categories L* and N*, and white space. */
#ifndef ATTNC_UNICODE_CLASSES_H
#define ATTNC_UNICODE_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

bool unicode_is_letter(uint32_t code);
bool unicode_is_number(uint32_t code);
bool unicode_is_space(uint32_t code);

#endif

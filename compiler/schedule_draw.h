/* A picture of a schedule for people: its steps, what kernels do in which loops, and the buffers between them. */
#ifndef ATTNC_SCHEDULE_DRAW_H
#define ATTNC_SCHEDULE_DRAW_H

#include "schedule.h"

/* As a graph of Graphviz; s is as before when it returns. */
void schedule_draw_dot(schedule *s, const char *title, FILE *file);

/* Writes it to a file as draw_to_file does. Returns false and one line in `error`. */
bool schedule_draw_to_file(schedule *s, const char *title, const char *path, char *error, size_t error_size);

#endif

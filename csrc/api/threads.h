/* How many threads calls use. */
#ifndef FL_API_THREADS_H
#define FL_API_THREADS_H

/* Threads of this thread's calls: if fl_set_thread_limit was given > 0 that, else of fl_set_num_threads, else
 * what OpenMP offers; of that, where fl_set_cpu_limit was given > 0, no more than so many and than the CPUs
 * that the process may use. 1 in a forked child. */
int fl_num_threads(void);
void fl_set_num_threads(int n);
void fl_set_cpu_limit(int n);
/* The expected work of a call that the team is woken for; < 0: the usual one. */
void fl_set_grain(int microseconds);
int fl_thread_limit(void);
void fl_set_thread_limit(int n);
const char *fl_openmp(void); /* "OpenMP 201511", or "none" */

#endif

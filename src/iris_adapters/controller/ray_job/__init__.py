"""A job on a Ray cluster: what runs there (driver, replicas, keepers), and how it gets there.

    iris job submit ─ Ray's Jobs API ─► driver, on the head ─ placement group ─► Replica, an actor per replica ─► keeper ─► sh -c …

`bundle` packs the sources of the other modules into the job itself, so the cluster's image needs Ray and nothing of iris. These
modules therefore import only each other, `iris_core.ray_names`, Ray and the standard library, and run on Python 3.10.
"""

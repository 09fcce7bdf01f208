"""
`gallery.html`: a page that shows what came of a job. It opens from disk and asks nothing of any network.

The page itself is in `page/`, as it is written; the job's own are the scripts in the folder `gallery/` beside it.
"""

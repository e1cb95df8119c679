"""The explorer's front end as built: `assets/` holds the static part of a site, copied into it as it is.

The sources are in `web/` of the repository; `npm run build` there writes `assets/`, and what it writes is committed,
so that nobody needs Node to use it.
"""

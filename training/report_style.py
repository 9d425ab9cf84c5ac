"""The style sheet of the evaluation report: plain, readable on a phone and on paper."""

STYLE = """
:root { color-scheme: light; --ham: #1d5f9f; --spam: #c2410c; --line: #e5e7eb; --quiet: #5b6472 }
* { box-sizing: border-box }
body { margin: 0; background: #fff; color: #1f2937; line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .4rem 0 .8rem }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .3rem }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
p { margin: .25rem 0 }
small { display: block; font-weight: normal; color: var(--quiet); font-size: .82rem }
.quiet { color: var(--quiet); font-size: .88rem }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
th, td { text-align: left; padding: .4rem .5rem; border-bottom: 1px solid var(--line);
  vertical-align: top }
thead th { font-size: .82rem; color: var(--quiet); font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.plots { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)) }
figure { margin: 0; min-width: 0 }
figure svg { width: 100%; height: auto; display: block }
figcaption { color: var(--quiet); font-size: .88rem }
.mistakes { padding: 0; margin: 0; list-style: none }
.mistakes li { border-top: 1px solid var(--line); padding: .6rem 0; overflow-wrap: anywhere }
.subject { font-weight: 600 }
.words span { display: inline-block; margin: .15rem .3rem .15rem 0; padding: 0 .45rem;
  border-radius: .3rem; font-size: .85rem; background: #f3f4f6 }
.words .for { background: #fdeee6; color: #8a2f09 }
.words .against { background: #e8f1fa; color: #15477a }
.words b { margin-left: .35rem; font-weight: 600; font-variant-numeric: tabular-nums }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: .6rem }
@media (max-width: 40rem) { main { padding: .8rem } th, td { padding: .35rem .25rem } }
@media print { .mistakes li, figure { break-inside: avoid } }
"""

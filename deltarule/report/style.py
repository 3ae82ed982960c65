"""The style sheet of the report: light, dark, narrow and on paper. Blue and orange are told apart by colour-blind readers too."""

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #17202a; --muted: #5d6975; --line: #e2e6ea;
  --blue: #0072b2; --orange: #e69f00; --green: #009e73; --wash: #eef3f7; }
@media (prefers-color-scheme: dark) { :root { --page: #12161b; --card: #1a2027; --ink: #e6eaee; --muted: #9aa6b2; --line: #303943;
  --blue: #56b4e9; --orange: #f0b43c; --green: #35c79b; --wash: #222b34; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 1000px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; }
.kicker { margin: 0; color: var(--blue); font-weight: 600; font-size: 13px; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: 4px 0 10px; font-size: clamp(26px, 5vw, 38px); line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 21px; }
h3 { margin: 24px 0 8px; font-size: 16px; }
.lead { margin: 0 0 24px; max-width: 46em; font-size: 18px; color: var(--ink); overflow-wrap: anywhere; }
p { margin: 6px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(205px, 1fr)); gap: 14px; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px; min-width: 0; }
.tile p { margin: 2px 0; font-size: 13.5px; color: var(--muted); overflow-wrap: anywhere; }
.tile .name { font-size: 13.5px; font-weight: 600; }
.tile .value { font-size: 32px; line-height: 1.25; font-weight: 650; color: var(--ink); font-variant-numeric: tabular-nums; }
.tile .long { font-size: 20px; line-height: 2; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.tile .baseline { color: var(--ink); }
.bar { position: relative; height: 8px; margin: 6px 0 8px; border-radius: 4px; background: var(--line); }
.bar i { display: block; height: 100%; border-radius: 4px; background: var(--blue); }
.bar b { position: absolute; top: -3px; width: 3px; height: 14px; margin-left: -1.5px; border-radius: 1px; background: var(--orange); }
section { margin: 18px 0; padding: 22px 24px; }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: 14.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 600; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
td:first-child, tbody th { font-weight: 600; }
.confusion th, .confusion td { padding: 6px 9px; border: 1px solid var(--line); min-width: 42px; max-width: 150px;
  overflow-wrap: break-word; }
.confusion tbody th, .confusion thead th:first-child { position: sticky; left: 0; background: var(--card); text-align: left; }
.confusion td { text-align: center; }
.confusion thead th { text-align: center; white-space: normal; }
.confusion .right { color: #ffffff; font-weight: 600; }
.confusion .wrong { color: #000000; font-weight: 600; }
.choices td:first-child { white-space: nowrap; }
.choices td:last-child { color: var(--muted); min-width: 190px; }
.pair { display: flex; flex-wrap: wrap; gap: 8px 28px; align-items: flex-start; }
.pair > div { flex: 0 1 auto; min-width: 0; max-width: 100%; }
.pair .caption { max-width: 375px; }
.pair table { font-size: 14px; }
.pair th, .pair td { padding: 5px 9px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 8px 24px; margin-top: 12px; }
figure { margin: 0; max-width: 520px; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; }
svg text { fill: var(--ink); }
figcaption, .caption { color: var(--muted); font-size: 13.5px; }
dl { margin: 0; }
dl div { display: grid; grid-template-columns: 110px 1fr; gap: 12px; padding: 5px 0; border-bottom: 1px solid var(--line); }
dt { color: var(--muted); font-weight: 600; font-size: 14.5px; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 20px; }
li { overflow-wrap: anywhere; }
.finding { padding: 10px 14px; margin: 8px 0; background: var(--wash); border-radius: 8px; overflow-wrap: anywhere; }
.finding p { margin: 2px 0; }
.badge { display: inline-block; padding: 0 9px; border-radius: 9px; font-size: 12.5px; font-weight: 650;
  color: #ffffff; background: #5d6975; }
.badge.warning { color: #000000; background: #f0b43c; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 16px 14px; }
.card { min-width: 0; font-size: 13.5px; line-height: 1.4; }
.card figcaption { color: var(--ink); overflow-wrap: anywhere; }
.card .file { margin: 1px 0 0; color: var(--muted); font-size: 12px; overflow-wrap: anywhere; }
.picture { display: block; width: 128px; height: 128px; object-fit: contain; margin-bottom: 5px; background: var(--wash); }
.hit .picture { outline: 3px solid var(--blue); }
.miss .picture { outline: 3px solid var(--orange); }
.crisp { image-rendering: pixelated; }
h3 .caption { font-weight: 400; }
details { margin-top: 18px; }
summary { cursor: pointer; font-weight: 600; }
pre { margin: 8px 0; padding: 10px 14px; background: var(--wash); border-radius: 8px; overflow-x: auto; font-size: 14px;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { padding: 8px 20px 40px; color: var(--muted); font-size: 13.5px; }
@media (max-width: 560px) { header, main, footer { padding-left: 12px; padding-right: 12px; } section { padding: 16px 14px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; } .tile { padding: 10px 12px; } .tile .value { font-size: 25px; }
  table, .pair table { font-size: 13.5px; } th, td, .pair th, .pair td { padding: 5px 6px; } dl div { grid-template-columns: 1fr; gap: 0; }
  .confusion th, .confusion td { padding: 4px 3px; min-width: 27px; }
  .choices thead { display: none; } .choices tr { display: block; padding: 7px 0; border-bottom: 1px solid var(--line); }
  .choices td { display: block; border: 0; padding: 0; } }
@media print { :root { color-scheme: light; --page: #ffffff; --card: #ffffff; --ink: #000000; --muted: #4d4d4d; --line: #d0d0d0;
  --blue: #0072b2; --orange: #e69f00; --green: #009e73; --wash: #f3f3f3; }
  body { font-size: 11pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  header, main, footer { max-width: none; padding-left: 0; padding-right: 0; } header { padding-top: 0; }
  section, .tile { border-color: #cccccc; } section { padding: 12px 14px; }
  figure, .tile, .finding, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; } }
"""

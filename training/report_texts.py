"""The words of the evaluation report in English and German."""

from __future__ import annotations

from types import MappingProxyType

ENGLISH = MappingProxyType(
    {
        "lang": "en",
        "decimal_sign": ".",
        "title": "How good is the filter?",
        "summary": "{messages} messages ({ham} ham, {spam} spam), protocol {protocol}, "
        "{rate} messages a second",
        "filter": "Filter",
        "measure": "Measure",
        "value": "Value",
        "interval": "95% interval",
        "measures_title": "Measures",
        "measures_text": "All of them are percentages; less is better.",
        "roca_complement_percent": "1-ROCA",
        "roca_complement_percent_text": "chance that a ham looks more like spam than a spam does",
        "ham_misclassified_percent": "Ham called spam",
        "ham_misclassified_percent_text": "share of good mail above the threshold",
        "spam_misclassified_percent": "Spam missed",
        "spam_misclassified_percent_text": "share of spam below the threshold",
        "lam_percent": "LAM",
        "lam_percent_text": "both error rates, averaged on the logistic scale",
        "spam_missed_percent_at_ham_0_1_percent": "Spam missed at 0.1% of ham",
        "spam_missed_percent_at_ham_0_1_percent_text": "when the threshold is moved until at most "
        "one ham in a thousand is called spam",
        "roc_title": "Both kinds of error",
        "roc_text": "Every point of the curve is a threshold. Nearer to the lower left corner is "
        "better; the dotted line marks 0.1% of ham.",
        "learning_title": "Errors while the mail came in",
        "learning_text": "Thick: since the first message. Thin: block by block.",
        "calibration_title": "Can the probabilities be believed?",
        "calibration_text": "On the dotted line, mail said to be spam with 80% is spam in 80 of "
        "100 cases. Small numbers: how many messages.",
        "histogram_title": "Where the scores lie",
        "histogram_text": "The further the two hills stand apart, the better. The dotted line is "
        "the threshold.",
        "mistakes_title": "The worst mistakes",
        "mistakes_text": "With the words that weighed most when the message was scored; what "
        "speaks for spam has a plus. Byte patterns count, too, but are no words.",
        "ham_mistakes": "Ham that was called spam",
        "spam_mistakes": "Spam that was missed",
        "no_mistakes": "None.",
        "no_words": "This filter does not tell its words.",
        "score": "Score",
        "position": "message",
        "no_subject": "(no subject)",
        "threshold": "threshold",
        "ham_called_spam": "ham called spam",
        "spam_missed": "spam missed",
        "messages_seen": "messages seen",
        "probability_said": "probability of spam, as said",
        "share_spam": "share of spam, as found",
        "share_wrong": "share judged wrongly",
        "needs_both": "needs both kinds of mail",
        "log_odds": "log-odds of spam",
        "messages": "messages",
        "ham": "ham",
        "spam": "spam",
        "skipped": "{count} entries of the index gave no message and were left out.",
        "roca_title": "1-ROCA while the mail came in",
        "roca_text": "Each tenth of the mail by itself; less is better. A tenth with ham alone or "
        "spam alone has no point.",
        "made": "Made by Schwamm from an evaluation by the protocol {protocol}. Measures: TREC "
        "Spam Track (Cormack and Lynam 2005); intervals: bootstrap of {resamples} resamples, "
        "Wilson for the two error rates.",
    }
)

GERMAN = MappingProxyType(
    {
        "lang": "de",
        "decimal_sign": ",",
        "title": "Wie gut ist der Filter?",
        "summary": "{messages} Nachrichten ({ham} Ham, {spam} Spam), Protokoll {protocol}, "
        "{rate} Nachrichten je Sekunde",
        "filter": "Filter",
        "measure": "Maß",
        "value": "Wert",
        "interval": "95-%-Intervall",
        "measures_title": "Maße",
        "measures_text": "Alle in Prozent; weniger ist besser.",
        "roca_complement_percent": "1-ROCA",
        "roca_complement_percent_text": "Wahrscheinlichkeit, dass eine Ham mehr nach Spam aussieht "
        "als eine Spam",
        "ham_misclassified_percent": "Ham für Spam gehalten",
        "ham_misclassified_percent_text": "Anteil guter Mail über der Schwelle",
        "spam_misclassified_percent": "Spam übersehen",
        "spam_misclassified_percent_text": "Anteil des Spams unter der Schwelle",
        "lam_percent": "LAM",
        "lam_percent_text": "beide Fehlerraten, auf der logistischen Skala gemittelt",
        "spam_missed_percent_at_ham_0_1_percent": "Spam übersehen bei 0,1 % der Ham",
        "spam_missed_percent_at_ham_0_1_percent_text": "wenn die Schwelle so liegt, dass höchstens "
        "eine von tausend Ham für Spam gehalten wird",
        "roc_title": "Beide Arten von Fehlern",
        "roc_text": "Jeder Punkt der Kurve ist eine Schwelle. Näher an der Ecke unten links ist "
        "besser; die gepunktete Linie steht bei 0,1 % der Ham.",
        "learning_title": "Fehler, während die Mail eintraf",
        "learning_text": "Dick: seit der ersten Nachricht. Dünn: Block für Block.",
        "calibration_title": "Darf man den Wahrscheinlichkeiten glauben?",
        "calibration_text": "Auf der gepunkteten Linie ist Mail mit 80 % Wahrscheinlichkeit in 80 "
        "von 100 Fällen Spam. Kleine Zahlen: wie viele Nachrichten.",
        "histogram_title": "Wo die Werte liegen",
        "histogram_text": "Je weiter die beiden Hügel auseinanderstehen, desto besser. Die "
        "gepunktete Linie ist die Schwelle.",
        "mistakes_title": "Die schlimmsten Fehler",
        "mistakes_text": "Mit den Wörtern, die beim Bewerten am meisten wogen; was für Spam "
        "spricht, hat ein Plus. Muster von Bytes zählen auch, sind aber keine Wörter.",
        "ham_mistakes": "Ham, die für Spam gehalten wurde",
        "spam_mistakes": "Spam, der übersehen wurde",
        "no_mistakes": "Keine.",
        "no_words": "Dieser Filter nennt seine Wörter nicht.",
        "score": "Wert",
        "position": "Nachricht",
        "no_subject": "(kein Betreff)",
        "threshold": "Schwelle",
        "ham_called_spam": "Ham für Spam gehalten",
        "spam_missed": "Spam übersehen",
        "messages_seen": "Nachrichten bisher",
        "probability_said": "Wahrscheinlichkeit für Spam, wie genannt",
        "share_spam": "Anteil Spam, wie gefunden",
        "share_wrong": "Anteil falsch beurteilt",
        "needs_both": "braucht beide Arten von Mail",
        "log_odds": "logarithmierte Chance für Spam",
        "messages": "Nachrichten",
        "ham": "Ham",
        "spam": "Spam",
        "skipped": "{count} Einträge des Index ergaben keine Nachricht und blieben weg.",
        "roca_title": "1-ROCA, während die Mail eintraf",
        "roca_text": "Jedes Zehntel der Mail für sich; weniger ist besser. Ein Zehntel nur mit Ham "
        "oder nur mit Spam hat keinen Punkt.",
        "made": "Von Schwamm aus einer Auswertung nach dem Protokoll {protocol}. Maße: TREC Spam "
        "Track (Cormack und Lynam 2005); Intervalle: Bootstrap mit {resamples} Wiederholungen, "
        "nach Wilson für die beiden Fehlerraten.",
    }
)

LANGUAGES = MappingProxyType({"en": ENGLISH, "de": GERMAN})
